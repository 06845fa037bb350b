/**
 * Connects the machine of connection.js to the world: carries out what it wants done, and tells it what happens.
 */

import { requestAddress } from "./address.js";
import { advice } from "./advice.js";
import { posted } from "./frames.js";
import { openLongPoll } from "./transports/longpoll.js";
import { openSse } from "./transports/sse.js";
import { openWebSocket } from "./transports/websocket.js";

/** @typedef {import("./connection.js").Effect} Effect */
/** @typedef {import("./connection.js").HandlerName} HandlerName */
/** @typedef {import("./environment.js").Environment} Environment */
/** @typedef {import("./environment.js").News} News */
/** @typedef {import("./transports/websocket.js").Transport} Transport */

const OPEN = { websocket: openWebSocket, sse: openSse, longpoll: openLongPoll };

/** The longest delay of browsers' timers: above it they fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Opens the socket.
 *
 * @param {object} options
 * @param {ReturnType<typeof import("./connection.js").createMachine>} options.machine
 * @param {ReturnType<typeof import("./manners.js").createManners>} options.manners
 * @param {string} options.address
 * @param {Environment} options.environment
 * @param {(handler: HandlerName, event?: object) => void} options.tell
 * @param {() => unknown} options.askForToken
 */
export function drive({ machine, manners, address, environment, tell, askForToken }) {
  /** @type {Map<number, Transport>} The connections by their numbers; what comes over any other is dropped. */
  const connections = new Map();
  /** @type {any} */
  let timer;
  let timerAt = Infinity;

  /** @type {{[Type in Effect["type"]]: (effect: Extract<Effect, {type: Type}>) => void}} */
  const carryOut = {
    connect({ connection, transport: name, ...request }) {
      const transport = OPEN[name]({ ...request, address }, environment);
      connections.set(connection, transport);
      transport.onmessage = ({ data }) => {
        if (connections.has(connection)) run((now) => machine.receive(connection, data, now));
      };
      transport.onclose = ({ code, reason }) => {
        if (connections.delete(connection)) run((now) => machine.closed(connection, code, reason, now));
      };
    },
    send: ({ connection, text }) => connections.get(connection)?.send(text),
    disconnect({ connection, code }) {
      connections.get(connection)?.close(code);
      connections.delete(connection);
    },
    post: ({ token, page, text }) => environment.beacon(requestAddress(address), posted(token, page, text)),
    async refresh() {
      /** @type {unknown} */
      let token;
      try {
        token = await askForToken();
      } catch (error) {
        environment.warn(`Pushline: refreshToken has failed. ${error}`);
      }
      run((now) => machine.refreshed(token, now));
    },
    tell: ({ handler, event }) => tell(handler, event),
    warn: ({ loss }) => environment.warn(advice(address, loss)),
    end() {
      environment.clearTimeout(timer);
      unwatch();
    },
  };

  /**
   * One event, and all that follows from it. A handler of the page may call `close()`, and so get here again, while
   * effects are being carried out: the inner run takes the rest of them, in order.
   *
   * @param {(now: number) => void} event
   */
  function run(event) {
    event(environment.now());
    for (let effect = machine.next(); effect; effect = machine.next()) {
      carryOut[effect.type](/** @type {any} */ (effect));
    }
    setTimer();
  }

  /** Deadlines mostly move away, with each frame that comes: then the timer may as well fire early and be set again. */
  function setTimer() {
    const deadline = machine.deadline();
    if (deadline >= timerAt) return;
    environment.clearTimeout(timer);
    timerAt = deadline;
    const delay = Math.ceil(Math.min(Math.max(deadline - environment.now(), 0), LONGEST_TIMER));
    timer = environment.setTimeout(() => {
      timerAt = Infinity;
      run(machine.tick);
    }, delay);
  }

  const unwatch = environment.watch((news) => {
    if (news === "return") manners.returned();
    run(news === "return" ? machine.wake : machine[news]);
  });
  run(machine.open);

  return { close: () => run(machine.close), readyState: machine.readyState };
}
