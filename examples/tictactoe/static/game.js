/** The page of a game: it shows the state that the server sends, and tells the server what the player does. */

const POSITIONS = ["Top left", "Top", "Top right", "Left", "Centre", "Right", "Bottom left", "Bottom", "Bottom right"];
const CONNECTIONS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting…",
  offline: "Not live",
};

const find = (selector) => document.querySelector(selector);
const page = find("#game");
const board = find(".board");
const squares = [...board.querySelectorAll("[data-square]")];

let state = { version: 0 };

/** Shows a state, unless a newer one is there: answers and pushed messages may overtake each other. */
function show(next) {
  if (next.version <= state.version) return;
  const moved = next.round === state.round ? squareOfMove(state.board, next.board) : undefined;
  state = next;
  say("");
  showBoard();
  showStrike();
  showSeats();
  showNews(moved);
  find("#waiting").hidden = state.started || !state.you;
  find("#watching").hidden = !state.started || Boolean(state.you);
  find("#play-again").hidden = !state.over || !state.you;
}

function showBoard() {
  const mayMove = state.started && !state.over && state.you === state.turn;
  page.dataset.you = state.you ?? "";
  page.toggleAttribute("data-started", state.started);
  squares.forEach((square, index) => {
    const mark = state.board[index];
    square.dataset.mark = mark;
    square.toggleAttribute("data-win", state.line?.includes(index) ?? false);
    square.setAttribute("aria-label", `${POSITIONS[index]}: ${mark || "empty"}`);
    square.setAttribute("aria-disabled", String(!mayMove || mark !== ""));
  });
}

function showSeats() {
  for (const mark of ["X", "O"]) {
    const seat = find(`[data-seat="${mark}"]`);
    seat.toggleAttribute("data-turn", state.started && !state.over && state.turn === mark);
    seat.toggleAttribute("data-winner", state.winner === mark);
    seat.querySelector(".name").textContent = nameOf(mark);
    seat.querySelector(".wins").hidden = !state.started;
    seat.querySelector(".wins b").textContent = state.wins[mark];
  }
}

/** Says how the game stands; `moved` is the square of the move that has just been made. */
function showNews(moved) {
  const sentence = statusOf();
  find("#status").textContent = sentence;
  find("#hint").textContent = hintOf(moved);
  document.title = `${sentence} · Tic-tac-toe`;
}

function nameOf(mark) {
  if (mark === state.you) return "You";
  if (mark === "O" && !state.started) return "Free seat";
  return state.you ? "Friend" : `Player ${mark}`;
}

function statusOf() {
  if (!state.started) return state.you ? "Waiting for a friend" : "Taking the free seat…";
  if (state.over && !state.winner) return "A draw";
  const mark = state.winner ?? state.turn;
  if (mark === state.you) return state.over ? "You win!" : "Your turn";
  const name = state.you ? "Your friend" : `Player ${mark}`;
  return state.over ? `${name} wins` : `${name}’s turn`;
}

/** What has just happened, if it is news to this player; else how the round stands. */
function hintOf(moved) {
  if (state.over && state.you) return `Next round you are ${state.you === "X" ? "O" : "X"}`;
  const mark = state.board[moved];
  if (mark && mark !== state.you) {
    return `${state.you ? "Your friend" : `Player ${mark}`} took: ${POSITIONS[moved].toLowerCase()}`;
  }
  if (!state.started) return "The game begins when your link is opened";
  return `Round ${state.round} · ${state.you ? `you are ${state.you}` : "you are watching"}`;
}

/** The square that the second board has and the first has not. */
function squareOfMove(before, after) {
  const square = after.findIndex((mark, index) => mark !== before[index]);
  return square < 0 ? undefined : square;
}

/** Draws the line through the three squares that won, a little beyond their centres. */
function showStrike() {
  const { line, winner } = state;
  if (!line) {
    delete board.dataset.struck;
    return;
  }
  board.dataset.struck = winner;
  const centre = (square) => [50 + 100 * (square % 3), 50 + 100 * Math.floor(square / 3)];
  const [x1, y1] = centre(line[0]);
  const [x2, y2] = centre(line[2]);
  const beyond = (from, to) => to + 0.14 * (to - from);
  const strike = find(".strike line");
  strike.setAttribute("x1", beyond(x2, x1));
  strike.setAttribute("y1", beyond(y2, y1));
  strike.setAttribute("x2", beyond(x1, x2));
  strike.setAttribute("y2", beyond(y1, y2));
}

function say(sentence) {
  find("#message").textContent = sentence;
}

/** Asks the server, and shows the state or the error that it answers. */
async function ask(path, request) {
  say("");
  try {
    const response = await fetch(`${page.dataset.address}/${path}`, request);
    const answer = await response.json();
    if (response.ok) return show(answer);
    if (request) await refresh(); // this page may have been behind
    say(answer.error.message);
  } catch {
    say("The game did not answer. Please try again.");
  }
}

const refresh = () => ask("state");

const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

function showConnection(name) {
  const shown = find("#connection");
  shown.dataset.connection = name;
  shown.textContent = CONNECTIONS[name];
  find("#reload").hidden = name !== "offline";
}

/** Opens the channel by which every new state comes. Without one the page is as good as its last load. */
function connect() {
  const token = page.dataset.token;
  const appengine = globalThis.goog?.appengine;
  if (!token || !appengine) return showConnection("offline");
  return new appengine.Channel(token).open({
    onopen: () => showConnection("live"),
    onmessage: ({ data }) => show(JSON.parse(data)),
    onreconnecting: () => showConnection("reconnecting"),
    onreconnect: () => {
      showConnection("live");
      refresh(); // a move that was made while Pushline was away was pushed to nobody
    },
    ongap: refresh,
    onclose: () => showConnection("offline"),
  });
}

async function copyInvite() {
  const invite = find("#invite");
  invite.select();
  let copied = true;
  try {
    await navigator.clipboard.writeText(invite.value);
  } catch {
    copied = document.execCommand("copy"); // the clipboard is for secure pages only, and may be forbidden
  }
  find("#copy").textContent = copied ? "Copied" : "Press Ctrl+C";
}

board.addEventListener("click", ({ target }) => {
  const square = target.closest("[data-square]");
  if (square) post("moves", { square: Number(square.dataset.square) });
});
find("#play-again").addEventListener("click", () => {
  squares[0].focus(); // the button goes away
  post("rematch", { round: state.round });
});
find("#reload").addEventListener("click", () => location.reload());
find("#copy").addEventListener("click", copyInvite);
find("#invite").addEventListener("focus", ({ target }) => target.select());

show(JSON.parse(page.dataset.state));
connect();
if (!state.you) post("join", {});
