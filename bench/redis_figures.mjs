// ADR-005's loops on ioredis, as they stand there (naive) and as somebody who measures would write them (tuned):
//
//   node redis_figures.mjs PORT publish|consume|move|wake naive|tuned COUNT [RATE]
//
// Prints one JSON object on one line, in the names of `tidings bench`.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import Redis from 'ioredis';

const [port, path, way, count, rate] = process.argv.slice(2).map((word) => (/^\d+$/.test(word) ? Number(word) : word));
const stream = 'events:user';
const tuned = way === 'tuned';
const redis = new Redis({ port, host: '127.0.0.1', enableAutoPipelining: tuned });

// As large as the other contestants' events.
const event = (n) => ({
  id: `evt_01KB${String(n).padStart(22, '0')}`,
  type: 'user.created',
  version: '1.0',
  timestamp: new Date().toISOString(),
  source: 'user-service',
  correlationId: `req_01KB${String(n).padStart(22, '0')}`,
  data: { userId: `usr_${1_000_000 + n}`, email: 'ada@home.io', role: 'CLIENT' },
});
const add = (n) => redis.xadd(stream, '*', 'event', JSON.stringify(event(n)));
const fail = (why) => {
  console.error(`redis_figures.mjs: ${why}`);
  process.exit(1);
};
// Something that hangs must not keep the machine for ever.
setTimeout(fail, 120_000, 'nothing came for two minutes').unref();
const now = () => Number(process.hrtime.bigint());

// Publishes the numbers first … first + count - 1.
async function publish(first) {
  if (!tuned) {
    for (let n = first; n < first + count; n++) await add(n);
    return;
  }
  for (let n = first; n < first + count; n += 500) {
    await Promise.all(Array.from({ length: Math.min(500, first + count - n) }, (_, i) => add(n + i)));
  }
}

// Handles and acknowledges `events` events.
async function consume(events, handler) {
  for (let done = 0; done < events; ) {
    const results = await redis.xreadgroup(
      'GROUP', way, 'c', 'COUNT', tuned ? 500 : 10, 'BLOCK', 5000, 'STREAMS', stream, '>');
    for (const [, messages] of results ?? []) {
      for (const [id, fields] of messages) {
        await handler(JSON.parse(fields[1]));
        if (!tuned) await redis.xack(stream, way, id);
      }
      if (tuned) await redis.xack(stream, way, ...messages.map(([id]) => id));
      done += messages.length;
    }
  }
}

const makeGroup = () => redis.xgroup('CREATE', stream, way, '0', 'MKSTREAM');
const indexOf = (event) => Number(event.data.userId.slice(4)) - 1_000_000;
const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] / 1e3;

// The second process of move and wake. Its first event only says that both are ready.
async function follow() {
  const seen = new Array(count + 1);
  await makeGroup();
  await consume(count + 1, (event) => {
    const index = indexOf(event);
    seen[index] = now();
    if (index === 0) process.send('ready');
  });
  // What is sent when the channel closes is lost, unless it is waited for.
  await new Promise((sent) => process.send({ last: now(), seen }, sent));
  process.disconnect();
}

async function withFollower(work) {
  const follower = fork(fileURLToPath(import.meta.url), [port, 'follow', way, count].map(String));
  let answered = false;
  follower.once('disconnect', () => {
    if (!answered) fail('the consumer ended before its time');
  });
  const ready = once(follower, 'message');
  await add(0);
  await ready;
  const answer = once(follower, 'message');
  const start = now();
  const sent = await work();
  const [{ last, seen }] = await answer;
  answered = true;
  const latencies = sent?.map((at, i) => seen[i + 1] - at).sort((a, b) => a - b);
  return { seconds: (last - start) / 1e9, latencies };
}

async function publishAtRate() {
  const start = now();
  const sent = [];
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (let n = 1; n <= count; n++) {
    // Nothing is under way here, so that the loop may stand still; a timer would only do whole milliseconds.
    Atomics.wait(never, 0, 0, Math.max(0, start / 1e6 + (n * 1000) / rate - now() / 1e6));
    sent.push(now());
    await add(n);
  }
  return sent;
}

async function timed(work) {
  const start = now();
  await work();
  return { seconds: (now() - start) / 1e9 };
}

await redis.ping();
if (path === 'follow') {
  await follow();
} else {
  if (path === 'consume') await makeGroup();
  const { seconds, latencies } = await {
    publish: () => timed(() => publish(1)),
    consume: () => timed(() => consume(count, indexOf)),
    move: () => withFollower(() => publish(1).then(() => undefined)),
    wake: () => withFollower(publishAtRate),
  }[path]();
  const line = { path, events: count, seconds, events_per_second: count / seconds };
  if (latencies) Object.assign(line, { p50_us: percentile(latencies, 0.5), p99_us: percentile(latencies, 0.99) });
  console.log(JSON.stringify(line));
}
redis.disconnect();
