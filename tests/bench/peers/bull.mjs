// BullMQ: bulk additions, 50 jobs at a time in each process, nothing kept of those that are done.

import { Queue, Worker } from "bullmq";
import { main, migrate, pages } from "./common.mjs";

const connection = { path: process.env.REDIS_SOCKET, maxRetriesPerRequest: null };
const opts = { removeOnComplete: true, attempts: 3, backoff: { type: "exponential", delay: 1000 } };

main({
  async setup() {},
  async produce() {
    const queue = new Queue("migrate", { connection });
    for await (const page of pages()) await queue.addBulk(page.map((ids) => ({ name: "migrate", data: { ids }, opts })));
  },
  async work() {
    const worker = new Worker("migrate", (job) => migrate(job.data.ids), { connection, concurrency: 50 });
    await worker.waitUntilReady();
  },
});
