// fauxqs, which stands for SQS and SNS, on a free port of the loopback. Prints `URL REGION`; then answers each line of
// its input with how often each operation was asked for so far, as JSON, and ends with its input.
import { AsyncLocalStorage } from 'node:async_hooks';
import readline from 'node:readline';
import { buildApp } from 'fauxqs';
// Not exported, so it is found by its place.
import { SqsQueue } from './node_modules/fauxqs/dist/sqs/sqsStore.js';

const region = 'eu-west-1';
const app = buildApp({ logger: false, host: 'localhost', defaultRegion: region });
const requests = {};
const count = (operation) => (requests[operation] = (requests[operation] ?? 0) + 1);
// SQS says the operation in a header, SNS in the form that it is sent.
app.server.prependListener('request', (request) => {
  const target = request.headers['x-amz-target'];
  count(target === undefined ? 'Form' : target.slice(target.indexOf('.') + 1));
});
await app.listen({ host: '127.0.0.1', port: 0 });
console.log(`http://127.0.0.1:${app.server.address().port} ${region}`);
for await (const line of readline.createInterface({ input: process.stdin })) {
  void line;
  console.log(JSON.stringify(requests));
}
process.exit(0);
