// @aws-sdk at the batching and with the requests in flight that the other contestants have:
//
//   node aws_figures.mjs ENDPOINT PREFIX publish|consume COUNT
//
// Prints one JSON object on one line, in the names of `tidings bench`.
import * as sns from '@aws-sdk/client-sns';
import * as sqs from '@aws-sdk/client-sqs';

const [endpoint, prefix, path, words] = process.argv.slice(2);
const count = Number(words);
const options = { endpoint, region: 'eu-west-1', useQueueUrlAsEndpoint: false };
const QueueUrl = `${endpoint}/000000000000/${prefix}-bench-events-user`;
const TopicArn = `arn:aws:sns:eu-west-1:000000000000:${prefix}-events-user`;

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
const lanes = (many, lane) => Promise.all(Array.from({ length: many }, lane));
const refused = ({ Failed }) => {
  if (Failed?.length) throw new Error(JSON.stringify(Failed));
};

async function publish() {
  const client = new sns.SNSClient(options);
  let sent = 0;
  await lanes(24, async () => {
    while (sent < count) {
      const first = sent + 1;
      sent += 10;
      const PublishBatchRequestEntries = Array.from({ length: 10 }, (_, i) => ({
        Id: String(i),
        Message: JSON.stringify(event(first + i)),
        MessageAttributes: { type: { DataType: 'String', StringValue: 'user.created' } },
      }));
      refused(await client.send(new sns.PublishBatchCommand({ TopicArn, PublishBatchRequestEntries })));
    }
  });
}

async function consume() {
  const client = new sqs.SQSClient(options);
  let done = 0;
  await lanes(8, async () => {
    while (done < count) {
      const { Messages } = await client.send(new sqs.ReceiveMessageCommand({
        QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: ['type'],
      }));
      if (!Messages?.length) continue;
      for (const { Body } of Messages) if (JSON.parse(Body).data.email !== 'ada@home.io') throw new Error(Body);
      const Entries = Messages.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle }));
      refused(await client.send(new sqs.DeleteMessageBatchCommand({ QueueUrl, Entries })));
      done += Messages.length;
    }
  });
}

const [cpu, start] = [process.cpuUsage(), process.hrtime.bigint()];
await { publish, consume }[path]();
const ended = process.hrtime.bigint();
const { user, system } = process.cpuUsage(cpu);
const seconds = Number(ended - start) / 1e9;
console.log(JSON.stringify({ path, events: count, seconds, events_per_second: count / seconds, cpu_seconds: (user + system) / 1e6 }));
process.exit(0);
