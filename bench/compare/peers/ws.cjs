// What one writes first with ws: a map of sockets. POST /send/PAGE, or /all: the body is the message.
const http = require("node:http");
const { WebSocketServer } = require("ws");
const body = require("./body.cjs");

const pages = new Map();
const server = http.createServer((request, response) => {
  body(request, (text) => {
    if (request.url === "/all") {
      for (const socket of pages.values()) socket.send(text);
    } else {
      const socket = pages.get(request.url.slice("/send/".length));
      if (socket) socket.send(text);
      else response.statusCode = 404;
    }
    response.end("ok");
  });
});
new WebSocketServer({ server }).on("connection", (socket, request) => {
  const page = request.url.slice("/ws/".length);
  pages.set(page, socket);
  socket.on("close", () => pages.delete(page));
  socket.on("error", () => socket.terminate());
});
server.listen(Number(process.argv[2]), "127.0.0.1");
