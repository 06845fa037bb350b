// Reads forms as `fetch` does: a line of standard input has a content type and a body in hexadecimal.
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const [type, digits] = line.split("\t");
  const form = await new Response(Buffer.from(digits, "hex"), { headers: { "Content-Type": type } }).formData();
  const from = Buffer.from(form.get("from")).toString("hex");
  console.log(`${from} ${form.get("event")} ${form.get("sequence")} ${form.get("time")}`);
}
