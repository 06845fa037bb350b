// Socket.IO: a room for each page. POST /send/ROOM, or /all: the body is the message.
const http = require("node:http");
const { Server } = require("socket.io");
const body = require("./body.cjs");

const server = http.createServer((request, response) => {
  body(request, (text) => {
    if (request.url === "/all") io.emit("message", text);
    else io.to(request.url.slice("/send/".length)).emit("message", text);
    response.end("ok");
  });
});
const io = new Server(server);
io.on("connection", (socket) => socket.join(socket.handshake.query.id));
server.listen(Number(process.argv[2]), "127.0.0.1");
