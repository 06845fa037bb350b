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
 * @param {object} options
 * @param {ReturnType<typeof import("./connection.js").createMachine>} options.machine
 * @param {ReturnType<typeof import("./manners.js").createManners>} options.manners
 * @param {string} options.address
 * @param {Environment} options.environment
 * @param {(handler: HandlerName, event?: object) => void} options.tell
 * @param {() => unknown} options.askForToken
 */
export function createDriver({ machine, manners, address, environment, tell, askForToken }) {
  /** @type {Map<number, Transport>} The connections by their numbers; what comes over any other is dropped. */
  const connections = new Map();
  /** @type {any} */
  let timer;
  let timerAt = Infinity;
  let unwatch = () => {};

  /** @param {News} news */
  function hear(news) {
    if (news === "return") manners.returned();
    run((now) => {
      if (news === "leaving") machine.leaving();
      else if (news === "gone") machine.gone();
      else if (news === "shown") machine.shown(now);
      else machine.wake(now);
    });
  }

  /**
   * One event, and all that follows from it. A handler of the page may call `close()`, and so get here again, while
   * effects are being carried out: the inner run takes the rest of them, in order.
   *
   * @param {(now: number) => void} event
   */
  function run(event) {
    event(environment.now());
    for (let effect = machine.next(); effect; effect = machine.next()) carryOut(effect);
    setTimer();
  }

  /** @param {Effect} effect */
  function carryOut(effect) {
    switch (effect.type) {
      case "connect":
        return connect(effect);
      case "send":
        return connections.get(effect.connection)?.send(effect.text);
      case "disconnect":
        connections.get(effect.connection)?.close(effect.code);
        connections.delete(effect.connection);
        return;
      case "post":
        return environment.beacon(requestAddress(address), posted(effect.token, effect.page, effect.text));
      case "refresh":
        refresh();
        return;
      case "tell":
        return tell(effect.handler, effect.event);
      case "warn":
        return environment.warn(advice(address, effect.loss));
      case "end":
        environment.clearTimeout(timer);
        return unwatch();
    }
  }

  /** @param {Extract<Effect, {type: "connect"}>} effect */
  function connect({ connection, transport: name, token, page, after }) {
    const transport = OPEN[name]({ address, token, page, after }, environment);
    connections.set(connection, transport);
    transport.onmessage = ({ data }) => {
      if (connections.has(connection)) run((now) => machine.receive(connection, data, now));
    };
    transport.onclose = ({ code, reason }) => {
      if (connections.delete(connection)) run((now) => machine.closed(connection, code, reason, now));
    };
  }

  async function refresh() {
    /** @type {unknown} */
    let token;
    try {
      token = await askForToken();
    } catch (error) {
      environment.warn(`Pushline: refreshToken has failed. ${error}`);
    }
    run((now) => machine.refreshed(token, now));
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
      run((now) => machine.tick(now));
    }, delay);
  }

  return {
    open() {
      unwatch = environment.watch(hear);
      run((now) => machine.open(now));
    },
    close: () => run(() => machine.close()),
  };
}
