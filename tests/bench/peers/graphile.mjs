// graphile-worker: a local queue in each process and completions in batches, as its page on performance advises.

import { makeWorkerUtils, run } from "graphile-worker";
import { concurrency, connectionString, main, migrate, pages } from "./common.mjs";

const preset = {
  worker: { connectionString, concurrentJobs: concurrency, maxPoolSize: concurrency + 2, pollInterval: 500, localQueue: { size: 500 },
            completeJobBatchDelay: 0, failJobBatchDelay: 0 },
};

main({
  async setup() {
    await (await makeWorkerUtils({ preset })).migrate();
  },
  async produce() {
    const utils = await makeWorkerUtils({ preset });
    for await (const page of pages()) await utils.addJobs(page.map((ids) => ({ identifier: "migrate", payload: { ids } })));
  },
  async work() {
    await run({ preset, taskList: { migrate: ({ ids }, helpers) => helpers.withPgClient((client) => migrate(ids, client)) } });
  },
});
