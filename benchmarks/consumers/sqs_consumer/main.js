// Eight sqs-consumer consumers, ten messages per poll, handled as batches or one by one.
import { GetQueueUrlCommand, SQSClient } from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const CONSUMERS = 8;
const handlers = {
  batch: { handleMessageBatch: async (messages) => messages },
  one: { handleMessage: async (message) => message },
};

const sqs = new SQSClient({});
const { QueueUrl: queueUrl } = await sqs.send(
  new GetQueueUrlCommand({ QueueName: process.env.BENCH_QUEUE }),
);
for (let i = 0; i < CONSUMERS; i++) {
  const consumer = Consumer.create({ queueUrl, sqs, batchSize: 10, ...handlers[process.argv[2]] });
  consumer.on("error", (error) => console.error(error.message));
  consumer.on("processing_error", (error) => console.error(error.message));
  consumer.start();
}
