// pg-boss: jobs are fetched and completed in batches, as many as it can do until it looks again, and done several at a time.

import PgBoss from "pg-boss";
import { concurrency, connectionString, main, migrate, pages } from "./common.mjs";

const batchSize = process.env.IDS_PER_JOB === "1" ? 2500 : 500;
const boss = new PgBoss({ connectionString, max: concurrency });
boss.on("error", console.error);
await boss.start();

main({
  async setup() {
    await boss.createQueue("migrate");
  },
  async produce() {
    for await (const page of pages()) await boss.insert(page.map((ids) => ({ name: "migrate", data: { ids } })));
  },
  async work() {
    await boss.work("migrate", { batchSize, pollingIntervalSeconds: 0.5 }, (jobs) => Promise.all(jobs.map((job) => migrate(job.data.ids))));
  },
});
