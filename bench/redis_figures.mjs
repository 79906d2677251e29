// ADR-005's loops on ioredis, as they stand there (naive) and as somebody who measures would write them (tuned):
//
//   node redis_figures.mjs PORT publish-naive|publish-tuned|consume-tuned COUNT
//
// Prints one JSON object on one line, in the names of `tidings bench`.
import Redis from 'ioredis';

const [port, path, text] = process.argv.slice(2);
const count = Number(text);
const stream = 'events:user';

const event = (n) => ({
  id: `evt_01KB${String(n).padStart(22, '0')}`,
  type: 'user.created',
  version: '1.0',
  timestamp: new Date().toISOString(),
  source: 'user-service',
  correlationId: `req_01KB${String(n).padStart(22, '0')}`,
  data: { userId: `usr_${n}`, email: `${'x'.repeat(40)}someone@example.com`, role: 'FREELANCER' },
});

async function publishNaive(redis) {
  for (let n = 1; n <= count; n++) await redis.xadd(stream, '*', 'event', JSON.stringify(event(n)));
}

async function publishTuned(redis) {
  for (let n = 0; n < count; n += 500) {
    const batch = [];
    for (let i = n; i < n + 500; i++) batch.push(redis.xadd(stream, '*', 'event', JSON.stringify(event(i))));
    await Promise.all(batch);
  }
}

async function consumeTuned(redis) {
  await redis.xgroup('CREATE', stream, 'tuned', '0', 'MKSTREAM');
  for (let done = 0, sum = 0; done < count; ) {
    const results = await redis.xreadgroup('GROUP', 'tuned', 'c', 'COUNT', 500, 'BLOCK', 5000, 'STREAMS', stream, '>');
    const ids = [];
    for (const [, messages] of results ?? []) {
      for (const [id, fields] of messages) {
        sum += JSON.parse(fields[1]).data.userId.length;
        ids.push(id);
      }
    }
    if (ids.length > 0) await redis.xack(stream, 'tuned', ...ids);
    done += ids.length;
    if (sum === 0) throw new Error('nothing was read');
  }
}

const redis = new Redis({ port: Number(port), host: '127.0.0.1', enableAutoPipelining: path !== 'publish-naive' });
await redis.ping();
const start = process.hrtime.bigint();
await { 'publish-naive': publishNaive, 'publish-tuned': publishTuned, 'consume-tuned': consumeTuned }[path](redis);
const seconds = Number(process.hrtime.bigint() - start) / 1e9;
console.log(JSON.stringify({ path, events: count, seconds, events_per_second: count / seconds }));
redis.disconnect();
