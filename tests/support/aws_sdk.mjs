// A round trip with the real SDK: aws_sdk.mjs ENDPOINT REGION. Prints one line when everything was as on AWS.
import assert from 'node:assert/strict';
import * as sns from '@aws-sdk/client-sns';
import * as sqs from '@aws-sdk/client-sqs';

const [endpoint, region] = process.argv.slice(2);
const options = {endpoint, region, credentials: {accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret'}, maxAttempts: 1};
const queues = new sqs.SQSClient(options);
const topics = new sns.SNSClient(options);
const ask = (command) => queues.send(command);
const tell = (command) => topics.send(command);

const fails = (promise, name) => assert.rejects(promise, (error) => {
  assert.equal(error.name, name);
  return true;
});

// Queues, one of them behind the other.
await ask(new sqs.CreateQueueCommand({QueueName: 'dead', Attributes: {MessageRetentionPeriod: '1209600'}}));
const {QueueUrl} = await ask(new sqs.CreateQueueCommand({QueueName: 'orders', Attributes: {VisibilityTimeout: '60'}, tags: {team: 'a'}}));
await fails(ask(new sqs.CreateQueueCommand({QueueName: 'orders', Attributes: {VisibilityTimeout: '61'}})), 'QueueNameExists');
await fails(ask(new sqs.GetQueueUrlCommand({QueueName: 'nowhere'})), 'QueueDoesNotExist');
const arnOf = (name) => `arn:aws:sqs:${region}:123456789012:${name}`;
const RedrivePolicy = JSON.stringify({deadLetterTargetArn: arnOf('dead'), maxReceiveCount: 1});

// A topic that delivers to it.
const {TopicArn} = await tell(new sns.CreateTopicCommand({Name: 'events', Tags: [{Key: 'k', Value: 'v'}]}));
const Policy = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{
    Effect: 'Allow', Principal: {Service: 'sns.amazonaws.com'}, Action: 'sqs:SendMessage', Resource: arnOf('orders'),
    Condition: {ArnEquals: {'aws:SourceArn': TopicArn}},
  }],
});
await ask(new sqs.SetQueueAttributesCommand({QueueUrl, Attributes: {Policy}}));
const attributes = await ask(new sqs.GetQueueAttributesCommand({QueueUrl, AttributeNames: ['All']}));
assert.equal(attributes.Attributes.QueueArn, arnOf('orders'));
const {SubscriptionArn} = await tell(new sns.SubscribeCommand({
  TopicArn, Protocol: 'sqs', Endpoint: arnOf('orders'), ReturnSubscriptionArn: true,
  Attributes: {RawMessageDelivery: 'true', FilterPolicy: JSON.stringify({type: ['created']})},
}));
const subscription = await tell(new sns.GetSubscriptionAttributesCommand({SubscriptionArn}));
assert.equal(subscription.Attributes.RawMessageDelivery, 'true');
assert.equal((await tell(new sns.ListSubscriptionsByTopicCommand({TopicArn}))).Subscriptions.length, 1);
assert.deepEqual((await tell(new sns.ListTagsForResourceCommand({ResourceArn: TopicArn}))).Tags, [{Key: 'k', Value: 'v'}]);
await fails(tell(new sns.PublishCommand({TopicArn: TopicArn + 'x', Message: 'x'})), 'NotFoundException');

// Published, filtered, received, with digests that the SDK checks.
const typed = (type) => ({type: {DataType: 'String', StringValue: type}});
await tell(new sns.PublishCommand({TopicArn, Message: 'one "ü" <&> 😀', MessageAttributes: typed('created')}));
await tell(new sns.PublishCommand({TopicArn, Message: 'filtered', MessageAttributes: typed('deleted')}));
const batch = await tell(new sns.PublishBatchCommand({
  TopicArn, PublishBatchRequestEntries: [{Id: 'a', Message: 'two', MessageAttributes: typed('created')}, {Id: 'b', Message: ''}],
}));
assert.equal(batch.Successful[0].Id, 'a');
assert.deepEqual([batch.Failed[0].Id, batch.Failed[0].SenderFault], ['b', true]);
await ask(new sqs.SendMessageCommand({
  QueueUrl, MessageBody: 'three',
  MessageAttributes: {bytes: {DataType: 'Binary', BinaryValue: new Uint8Array([0, 255, 7])}, size: {DataType: 'Number', StringValue: '5'}},
}));
const sent = await ask(new sqs.SendMessageBatchCommand({QueueUrl, Entries: [{Id: 'x', MessageBody: 'four'}, {Id: 'y', MessageBody: '\u0001'}]}));
assert.equal(sent.Failed[0].Code, 'InvalidMessageContents');
const receive = (more) => ask(new sqs.ReceiveMessageCommand({QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, ...more}));
const {Messages} = await receive({MessageAttributeNames: ['All'], MessageSystemAttributeNames: ['All']});
assert.deepEqual(Messages.map((each) => each.Body), ['one "ü" <&> 😀', 'two', 'three', 'four']);
assert.equal(Messages[0].MessageAttributes.type.StringValue, 'created');
assert.deepEqual([...Messages[2].MessageAttributes.bytes.BinaryValue], [0, 255, 7]);
assert.equal(Messages[2].Attributes.ApproximateReceiveCount, '1');

// Settled, or given back; what comes twice is given up and moved back.
const entries = Messages.slice(0, 2).map(({ReceiptHandle}, index) => ({Id: String(index), ReceiptHandle}));
assert.equal((await ask(new sqs.DeleteMessageBatchCommand({QueueUrl, Entries: entries}))).Successful.length, 2);
await ask(new sqs.ChangeMessageVisibilityCommand({QueueUrl, ReceiptHandle: Messages[2].ReceiptHandle, VisibilityTimeout: 0}));
await fails(ask(new sqs.ChangeMessageVisibilityCommand({QueueUrl, ReceiptHandle: Messages[2].ReceiptHandle, VisibilityTimeout: 5})),
  'MessageNotInflight');
await fails(ask(new sqs.DeleteMessageCommand({QueueUrl, ReceiptHandle: 'garbage'})), 'ReceiptHandleIsInvalid');
await fails(ask(new sqs.ChangeMessageVisibilityCommand({QueueUrl, ReceiptHandle: Messages[3].ReceiptHandle, VisibilityTimeout: 43201})),
  'InvalidParameterValue');
await ask(new sqs.SetQueueAttributesCommand({QueueUrl, Attributes: {RedrivePolicy}}));
assert.equal((await receive({WaitTimeSeconds: 0})).Messages, undefined);
const {TaskHandle} = await ask(new sqs.StartMessageMoveTaskCommand({SourceArn: arnOf('dead'), DestinationArn: arnOf('orders')}));
assert.ok(TaskHandle);
const {Results} = await ask(new sqs.ListMessageMoveTasksCommand({SourceArn: arnOf('dead')}));
assert.deepEqual([Results[0].Status, Results[0].ApproximateNumberOfMessagesMoved], ['COMPLETED', 1]);
assert.equal((await receive()).Messages[0].Body, 'three');

// Another secret is refused, and the clock is corrected by the Date header.
const wrong = new sqs.SQSClient({...options, credentials: {accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wrong'}});
await fails(wrong.send(new sqs.ListQueuesCommand({})), 'SignatureDoesNotMatch');
const skewed = new sqs.SQSClient({...options, systemClockOffset: 3600_000});
await fails(skewed.send(new sqs.ListQueuesCommand({})), 'SignatureDoesNotMatch');
assert.equal((await skewed.send(new sqs.ListQueuesCommand({}))).QueueUrls.length, 2);
console.log('as on AWS');
