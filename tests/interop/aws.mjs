// What programs that know nothing of Tidings do on SNS and SQS, with the real SDK and sqs-consumer:
//
//   node aws.mjs ENDPOINT REGION ACTION …
//
//   publish TOPIC FIRST COUNT [batch]     ADR-005's publisher, on SNS; prints what it published
//   subscribe TOPIC QUEUE raw|wrapped [TYPE…]   makes a queue of its own that the topic delivers to
//   consume QUEUE COUNT [ID…]             prints what its handler gets, throws for these ids, and ends when COUNT are deleted
//   send QUEUE                            sends the lines of its input to the queue, by tens
//   messages QUEUE                        prints body and attributes of what lies there, and deletes it
//   bucket BUCKET                         makes it
//   offload TOPIC BUCKET BYTES            publishes a large event as Amazon's extended clients do; prints it
//   claim QUEUE BUCKET                    takes one message, follows its pointer and prints what lies there
//   wrap TOPIC QUEUE                      turns off raw delivery of that subscription
//   filter TOPIC QUEUE                    prints the filter of that subscription, if it is there
//   escape HOST                           tries to reach another machine, in every way that the SDK could
import assert from 'node:assert/strict';
import readline from 'node:readline';
import * as s3 from '@aws-sdk/client-s3';
import * as sns from '@aws-sdk/client-sns';
import * as sqs from '@aws-sdk/client-sqs';
import { Consumer } from 'sqs-consumer';

const [endpoint, region, action, ...words] = process.argv.slice(2);
// A queue's own URL may carry a name that only AWS, or the emulator, knows.
const options = { endpoint, region, useQueueUrlAsEndpoint: false };
const topics = new sns.SNSClient(options);
const queues = new sqs.SQSClient(options);
const objects = new s3.S3Client({ ...options, forcePathStyle: true });
const print = (value) => process.stdout.write(`${typeof value === 'string' ? value : JSON.stringify(value)}\n`);
const urlOf = async (QueueName) => (await queues.send(new sqs.GetQueueUrlCommand({ QueueName }))).QueueUrl;
const notThere = (error) => {
  if (error.name !== 'QueueDoesNotExist') throw error;
};
const arnOf = (url) => `arn:aws:sqs:${region}:${url.split('/').slice(-2).join(':')}`;
const topicOf = async (Name) => (await topics.send(new sns.CreateTopicCommand({ Name }))).TopicArn;
const subscriptionOf = async (topic, queue) => {
  const [TopicArn, arn] = [await topicOf(topic), arnOf(await urlOf(queue))];
  const { Subscriptions } = await topics.send(new sns.ListSubscriptionsByTopicCommand({ TopicArn }));
  return Subscriptions.find(({ Endpoint }) => Endpoint === arn)?.SubscriptionArn;
};

// ADR-005's publisher where it says `xadd`.
class EventPublisher {
  constructor(client, topic) {
    this.client = client;
    this.topic = topic;
  }

  entry(event) {
    return {
      Message: JSON.stringify(event),
      MessageAttributes: { type: { DataType: 'String', StringValue: event.type } },
    };
  }

  async publish(event) {
    const { MessageId } = await this.client.send(new sns.PublishCommand({ TopicArn: this.topic, ...this.entry(event) }));

    return MessageId;
  }

  async publishBatch(events) {
    const { Failed } = await this.client.send(
      new sns.PublishBatchCommand({
        TopicArn: this.topic,
        PublishBatchRequestEntries: events.map((event, index) => ({ Id: String(index), ...this.entry(event) })),
      })
    );
    if (Failed?.length) throw new Error(JSON.stringify(Failed));
  }
}

const event = (i) => ({
  id: `evt_node_${i}`,
  type: i % 2 ? 'user.created' : 'user.updated',
  version: '1.0',
  timestamp: new Date().toISOString(),
  source: 'user-service',
  correlationId: `req_${i}`,
  data: {
    userId: `usr_${i}`,
    email: `ünï"${i}\\@example.com\u2028\n`,
    balance: [i / 7, 1e21, 1e20, -0.0000001, 2 ** 53],
    nested: { '': null, list: [[], {}], flag: i % 3 === 0 },
  },
  ...(i % 5 ? {} : { metadata: { attempt: 3, tags: ['a', 'ß', '😀'] } }),
});

const actions = {
  async publish(topic, first, count, batch) {
    const publisher = new EventPublisher(topics, await topicOf(topic));
    const events = Array.from({ length: Number(count) }, (_, i) => event(Number(first) + i));
    if (batch) {
      for (let i = 0; i < events.length; i += 10) await publisher.publishBatch(events.slice(i, i + 10));
    } else {
      for (const each of events) await publisher.publish(each);
    }
    events.forEach(print);
  },

  async subscribe(topic, queue, delivery, ...types) {
    const { QueueUrl } = await queues.send(new sqs.CreateQueueCommand({ QueueName: queue }));
    const [TopicArn, arn] = [await topicOf(topic), arnOf(QueueUrl)];
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{
        Effect: 'Allow', Principal: { Service: 'sns.amazonaws.com' }, Action: 'sqs:SendMessage', Resource: arn,
        Condition: { ArnEquals: { 'aws:SourceArn': TopicArn } },
      }],
    });
    await queues.send(new sqs.SetQueueAttributesCommand({ QueueUrl, Attributes: { Policy } }));
    const Attributes = { RawMessageDelivery: String(delivery === 'raw') };
    if (types.length) Attributes.FilterPolicy = JSON.stringify({ type: types });
    await topics.send(new sns.SubscribeCommand({ TopicArn, Protocol: 'sqs', Endpoint: arn, Attributes }));
  },

  async consume(queue, count, ...poison) {
    let left = Number(count);
    await new Promise((resolve, reject) => {
      const consumer = Consumer.create({
        queueUrl: queueUrl(queue), sqs: queues, batchSize: 10, waitTimeSeconds: 1, messageAttributeNames: ['type'],
        handleMessage: async (message) => {
          const body = JSON.parse(message.Body);
          const wrapped = body.Type === 'Notification';
          const received = wrapped ? JSON.parse(body.Message) : body;
          const type = wrapped ? body.MessageAttributes.type.Value : message.MessageAttributes?.type?.StringValue;
          if (type !== received.type) throw new Error(`${received.id} has the attribute type ${type}`);
          if (poison.includes(received.id)) throw new Error(`cannot handle ${received.id}`);
          print(wrapped ? body.Message : message.Body);
          return message;
        },
      });
      consumer.on('message_processed', () => {
        // It deletes once its handler returned, and says so before the next poll.
        if (--left === 0) consumer.stop();
      });
      consumer.on('processing_error', (error) => console.error(`Event processing failed: ${error.message}`));
      consumer.on('error', reject);
      consumer.on('stopped', resolve);
      consumer.start();
    });
  },

  async send(queue) {
    const QueueUrl = await urlOf(queue);
    const lines = [];
    for await (const line of readline.createInterface({ input: process.stdin })) lines.push(line);
    for (let i = 0; i < lines.length; i += 10) {
      const Entries = lines.slice(i, i + 10).map((MessageBody, index) => ({ Id: String(index), MessageBody }));
      const { Failed } = await queues.send(new sqs.SendMessageBatchCommand({ QueueUrl, Entries }));
      if (Failed?.length) throw new Error(JSON.stringify(Failed));
    }
  },

  async messages(queue) {
    const QueueUrl = await urlOf(queue);
    for (;;) {
      const { Messages } = await queues.send(new sqs.ReceiveMessageCommand({
        QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 0, MessageAttributeNames: ['All'],
      }));
      if (!Messages?.length) return;
      for (const { Body, MessageAttributes } of Messages) {
        const attributes = Object.entries(MessageAttributes ?? {}).map(([name, { StringValue }]) => [name, StringValue]);
        print({ body: Body, attributes: Object.fromEntries(attributes) });
      }
      await queues.send(new sqs.DeleteMessageBatchCommand({
        QueueUrl, Entries: Messages.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle })),
      }));
    }
  },

  async bucket(Bucket) {
    await objects.send(new s3.CreateBucketCommand({ Bucket }));
  },

  async offload(topic, Bucket, bytes) {
    const large = event(1);
    large.data.text = 'x'.repeat(Number(bytes));
    const [Body, Key] = [JSON.stringify(large), 'c71eb2ae-37e0-4265-8909-32f4153faddf'];
    await objects.send(new s3.PutObjectCommand({ Bucket, Key, Body }));
    await topics.send(new sns.PublishCommand({
      TopicArn: await topicOf(topic),
      Message: JSON.stringify(['software.amazon.payloadoffloading.PayloadS3Pointer', { s3BucketName: Bucket, s3Key: Key }]),
      MessageAttributes: {
        type: { DataType: 'String', StringValue: large.type },
        ExtendedPayloadSize: { DataType: 'Number', StringValue: String(Buffer.byteLength(Body)) },
      },
    }));
    print(Body);
  },

  async claim(queue, bucket) {
    const { Messages } = await queues.send(new sqs.ReceiveMessageCommand({
      QueueUrl: await urlOf(queue), WaitTimeSeconds: 5, MessageAttributeNames: ['All'],
    }));
    assert.equal(Messages.length, 1);
    const [name, { s3BucketName: Bucket, s3Key: Key }] = JSON.parse(Messages[0].Body);
    assert.equal(name, 'software.amazon.payloadoffloading.PayloadS3Pointer');
    assert.equal(Bucket, bucket);
    const body = await (await objects.send(new s3.GetObjectCommand({ Bucket, Key }))).Body.transformToString();
    const { ExtendedPayloadSize, type } = Messages[0].MessageAttributes;
    assert.equal(ExtendedPayloadSize.DataType, 'Number');
    assert.equal(Number(ExtendedPayloadSize.StringValue), Buffer.byteLength(body));
    assert.equal(type.StringValue, JSON.parse(body).type);
    print(body);
  },

  async wrap(topic, queue) {
    await topics.send(new sns.SetSubscriptionAttributesCommand({
      SubscriptionArn: await subscriptionOf(topic, queue), AttributeName: 'RawMessageDelivery', AttributeValue: 'false',
    }));
  },

  async filter(topic, queue) {
    const SubscriptionArn = await subscriptionOf(topic, queue).catch(notThere);
    if (!SubscriptionArn) return;
    const { Attributes } = await topics.send(new sns.GetSubscriptionAttributesCommand({ SubscriptionArn }));
    print(Attributes.FilterPolicy ?? '{}');
  },

  async escape(host) {
    const ways = {
      fetch: () => fetch(`http://${host}/`),
      sdk: () => new sqs.SQSClient({ region, endpoint: `http://${host}`, maxAttempts: 1 }).send(new sqs.ListQueuesCommand({})),
      // Without an endpoint it goes where AWS is.
      default: () => new sns.SNSClient({ region, maxAttempts: 1 }).send(new sns.ListTopicsCommand({})),
    };
    for (const [name, way] of Object.entries(ways)) {
      const error = await way().then(() => null, (each) => each);
      print(`${name}: ${[error?.code, error?.cause?.code].includes('ENOTLOOPBACK') ? 'refused' : `${error}`}`);
    }
  },
};

let queueUrl;
if (action === 'consume') {
  const url = await urlOf(words[0]);
  queueUrl = () => url;
}
await actions[action](...words);
