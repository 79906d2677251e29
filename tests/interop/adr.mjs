// ADR-005's publisher and consumer as they stand there, without their types, and a program around them:
//
//   node adr.mjs PORT publish FIRST COUNT            publishes, and prints what it published
//   node adr.mjs PORT consume STREAM GROUP COUNT [ID…]   prints what its handler gets, throws for these ids, and ends
//                                                    when it has acknowledged COUNT
import Redis from 'ioredis';

export class EventPublisher {
  constructor(redis) {
    this.redis = redis;
  }

  async publish(event) {
    const stream = `events:${event.type.split('.')[0]}`;

    const messageId = await this.redis.xadd(stream, '*', 'event', JSON.stringify(event));

    return messageId;
  }
}

export class EventConsumer {
  constructor(redis, group, consumer) {
    this.redis = redis;
    this.group = group;
    this.consumer = consumer;
  }

  async subscribe(stream, handler) {
    // Create consumer group if not exists
    try {
      await this.redis.xgroup('CREATE', stream, this.group, '0', 'MKSTREAM');
    } catch (err) {
      // Group already exists
    }

    while (true) {
      const results = await this.redis.xreadgroup(
        'GROUP',
        this.group,
        this.consumer,
        'BLOCK',
        5000,
        'COUNT',
        10,
        'STREAMS',
        stream,
        '>'
      );

      if (results) {
        for (const [, messages] of results) {
          for (const [id, fields] of messages) {
            const event = JSON.parse(fields[1]);
            try {
              await handler(event);
              await this.redis.xack(stream, this.group, id);
            } catch (error) {
              console.error('Event processing failed:', error);
              // Will be retried
            }
          }
        }
      }
    }
  }
}

const [port, action, ...words] = process.argv.slice(2);
const redis = new Redis({ host: '127.0.0.1', port: Number(port) });

if (action === 'publish') {
  const [first, count] = words.map(Number);
  const publisher = new EventPublisher(redis);
  for (let i = first; i < first + count; ++i) {
    const event = {
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
    };
    if (i % 5 === 0) event.metadata = { attempt: 3, tags: ['a', 'ß', '😀'] };
    await publisher.publish(event);
    process.stdout.write(JSON.stringify(event) + '\n');
  }
  redis.disconnect();
} else {
  const [stream, group, count, ...poison] = words;
  let left = Number(count);
  // Its loop has no end, so it ends with the process.
  const acknowledge = redis.xack.bind(redis);
  redis.xack = async (...args) => {
    const acknowledged = await acknowledge(...args);
    left -= acknowledged;
    if (left === 0) process.exit(0);
    return acknowledged;
  };
  await new EventConsumer(redis, group, 'consumer-1').subscribe(stream, async (event) => {
    if (poison.includes(event.id)) throw new Error(`cannot handle ${event.id}`);
    process.stdout.write(JSON.stringify(event) + '\n');
  });
}
