/**
 * Connects the machine of connection.js to the world: carries out what it wants done, and tells it what happens.
 */

import { requestAddress } from "./address.js";
import { advice } from "./advice.js";
import { openLongPoll } from "./transports/longpoll.js";
import { openSse } from "./transports/sse.js";
import { openWebSocket } from "./transports/websocket.js";

/** @typedef {import("./connection.js").Effect} Effect */
/** @typedef {import("./connection.js").HandlerName} HandlerName */
/** @template {unknown[]} T @typedef {T extends [unknown, ...infer Rest] ? Rest : never} Rest */
/** @typedef {import("./environment.js").Environment} Environment */
/** @typedef {import("./environment.js").News} News */
/** @typedef {import("./transports/websocket.js").Transport} Transport */

const OPEN = { websocket: openWebSocket, sse: openSse, longpoll: openLongPoll };

/** The longest delay of browsers' timers: above it, and below 0, they fire at any moment. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Opens the socket.
 *
 * @param {ReturnType<typeof import("./connection.js").createMachine>} machine
 * @param {string} address
 * @param {Environment} environment
 * @param {(handler: HandlerName, event?: object) => void} tell
 * @param {() => unknown} askForToken
 */
export function drive(machine, address, environment, tell, askForToken) {
  /** @type {Map<number, Transport>} The connections by their numbers. */
  const connections = new Map();
  /** @type {any} */
  let timer;
  let timerAt = Infinity;

  /** @type {{[Type in Effect[0]]: (...args: Rest<Extract<Effect, [Type, ...any]>>) => void}} */
  const carryOut = {
    connect(connection, how, request) {
      const transport = OPEN[how]({ ...request, address }, environment);
      connections.set(connection, transport);
      transport.onmessage = ({ data }) => run(machine.receive, connection, data);
      transport.onclose = ({ code, reason }) => {
        connections.delete(connection);
        run(machine.closed, connection, code, reason);
      };
    },
    send: (connection, frame) => connections.get(connection)?.send(JSON.stringify(frame)),
    disconnect(connection, code) {
      connections.get(connection)?.close(code);
      connections.delete(connection);
    },
    post: (body) => environment.beacon(requestAddress(address), JSON.stringify(body)),
    async refresh() {
      /** @type {unknown} */
      let token;
      try {
        token = await askForToken();
      } catch (error) {
        environment.warn(`Pushline: refreshToken failed: ${error}`);
      }
      run(machine.refreshed, token);
    },
    tell,
    warn: (loss) => environment.warn(advice(address, loss)),
    end() {
      environment.clearTimeout(timer);
      unwatch();
    },
  };

  /**
   * One event, and all that follows from it. A handler of the page may call `close()`, and so get here again, while
   * effects are being carried out: the inner run takes the rest of them, in order.
   *
   * @template {unknown[]} Details
   * @param {(now: number, ...details: Details) => void} event
   * @param {Details} details
   */
  function run(event, ...details) {
    event(environment.now(), ...details);
    for (let effect = machine.next(); effect; effect = machine.next()) {
      const [type, ...args] = effect;
      /** @type {(...args: any[]) => void} */ (carryOut[type])(...args);
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

  const unwatch = environment.watch(machine, run);
  run(machine.open);

  return { close: () => run(machine.close), readyState: machine.readyState };
}
