// Reads the body of a request: the message.
module.exports = function body(request, then) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => then(Buffer.concat(parts).toString()));
};
