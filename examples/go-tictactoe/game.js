/** The page of a game: it shows what the channel brings, and tells the server of clicks. */

const { token, me, key } = document.body.dataset;
const board = document.querySelector("#board");
let state = { version: 0 };

const squares = Array.from({ length: 9 }, (_, square) => {
  const button = document.createElement("button");
  button.dataset.square = square;
  button.addEventListener("click", () => {
    if (isMyMove()) post("move", { i: square });
  });
  board.append(button);
  return button;
});

const post = (path, more = {}) =>
  fetch(`${path}?${new URLSearchParams({ g: key, ...more })}`, { method: "POST" });

const isMyMove = () => state.userO && !state.winner && me === (state.moveX ? state.userX : state.userO);

function onmessage({ data }) {
  const next = JSON.parse(data);
  if (next.version < state.version) return; // it was overtaken
  state = next;
  squares.forEach((button, square) => {
    const mark = state.board[square].trim();
    button.dataset.mark = button.textContent = mark;
    button.setAttribute("aria-label", mark || "empty");
    button.classList.toggle("won", Boolean(state.line?.includes(square)));
  });
  say(sentence());
}

function sentence() {
  if (!state.userO) return "Waiting for another player to join";
  if (state.winner) return me === (state.winner === "X" ? state.userX : state.userO) ? "You won!" : "You lost.";
  if (!state.board.includes(" ")) return "A draw.";
  return isMyMove() ? "Your move" : "Your friend’s move";
}

function say(text) {
  document.querySelector("#status").textContent = text;
}

// From now on the server may speak: it is asked to show the game, also after it could not reach this page.
const onopen = () => post("opened");
new goog.appengine.Channel(token).open({
  onopen,
  onmessage,
  onreconnect: onopen,
  ongap: onopen,
  onclose: () => say("The connection has ended. Reload the page to go on."),
});
