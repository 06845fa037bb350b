// A Socket.IO server with connection state recovery, as its documentation sets it up, for `--peer socketio`.
// POST /send {"messages": [{"to": …, "data": …}]} emits each to the room of its client id, and answers with the ids.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [port, modules, interval, timeout] = process.argv.slice(2);
const { Server } = createRequire(`${modules}/`)("socket.io");

let milliseconds = 0;
let counter = 0;
const lastId = () => `${milliseconds}-${counter}`;
function nextId() {
  const now = Date.now();
  counter = now > milliseconds ? 0 : counter + 1;
  milliseconds = Math.max(milliseconds, now);
  return lastId();
}

const http = createServer((request, response) => {
  if (request.url !== "/send") {
    response.end("ready");
    return;
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { messages } = JSON.parse(Buffer.concat(chunks));
    const results = messages.map(({ to, data }) => {
      const id = nextId();
      io.to(to).emit("message", id, data);
      return { to, id };
    });
    response.end(JSON.stringify({ results }));
  });
});

const io = new Server(http, {
  connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
  pingInterval: interval * 1000,
  pingTimeout: timeout * 1000,
});
io.on("connection", (socket) => {
  socket.join(socket.handshake.auth.client_id);
  // A page whose state was not recovered knows by this up to where it has to look for itself.
  socket.emit("hello", lastId());
});
process.on("SIGTERM", () => {
  io.close();
  http.close();
  setTimeout(() => process.exit(0), 500);
});
nextId();
http.listen(Number(port), "127.0.0.1");
