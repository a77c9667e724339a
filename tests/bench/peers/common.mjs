// What the Node programs share: the keys, and a job's work.

import pg from "pg";

const idsPerJob = Number(process.env.IDS_PER_JOB);
const keys = `SELECT id::int FROM user_preferences WHERE id > $1 AND id <= ${process.env.LAST_ID} AND ${process.env.PENDING} ORDER BY id LIMIT 10000`;
const update = { name: "migrate", text: `${process.env.UPDATE} AND id = ANY ($1)` };

export const connectionString = process.env.DATABASE_URL;
export const concurrency = 10;
export const pool = new pg.Pool({ connectionString, max: concurrency });

/** The work of one job, on a connection of the pool or on `client`. */
export const migrate = (ids, client = pool) => client.query({ ...update, values: [ids] });

/** The ids of so many jobs at a time, each an array of arrays. */
export async function* pages() {
  let last = 0;
  let left = [];
  for (;;) {
    const { rows } = await pool.query({ name: "keys", text: keys, values: [last] });
    if (rows.length === 0) break;
    last = rows.at(-1).id;
    left.push(...rows.map((row) => row.id));
    const jobs = [];
    while (left.length >= idsPerJob) jobs.push(left.splice(0, idsPerJob));
    yield jobs;
  }
  if (left.length > 0) yield [left];
}

/** Runs what the command line asks for; a worker goes on until it is told to end. */
export async function main({ setup, produce, work }) {
  const role = process.argv[2];
  await { setup, produce, work }[role]();
  if (role === "work") console.error("ready");
  else process.exit(0);
}
