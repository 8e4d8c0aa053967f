// Sends so many messages, ten in a request and eight requests at a time, and prints what it took.
import { GetQueueUrlCommand, SendMessageBatchCommand, SQSClient } from "@aws-sdk/client-sqs";

const LOOPS = 8;
const BATCH = 10;

const sqs = new SQSClient({});
const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: process.env.BENCH_QUEUE }));

async function send(messages) {
  let left = messages / BATCH;
  async function loop() {
    while (left-- > 0) {
      const Entries = Array.from({ length: BATCH }, (_, number) => ({
        Id: String(number),
        MessageBody: process.env.BENCH_BODY,
      }));
      const { Failed } = await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
      if (Failed?.length) throw new Error(JSON.stringify(Failed));
    }
  }
  await Promise.all(Array.from({ length: LOOPS }, loop));
}

await send(200);
const began = performance.now();
const before = process.cpuUsage();
await send(Number(process.env.BENCH_MESSAGES));
const { user, system } = process.cpuUsage(before);
console.log(
  JSON.stringify({ seconds: (performance.now() - began) / 1000, cpu: (user + system) / 1e6 }),
);
