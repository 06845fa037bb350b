/**
 * Connects the machine of connection.js to the world: carries out what it wants done, and tells it what happens.
 */

import { advice } from "./advice.js";
import { openWebSocket } from "./transports/websocket.js";

/** @typedef {import("./connection.js").ConnectionMachine} ConnectionMachine */
/** @typedef {import("./connection.js").Effect} Effect */
/** @typedef {import("./connection.js").HandlerName} HandlerName */
/** @typedef {import("./environment.js").Environment} Environment */
/** @typedef {import("./transports/websocket.js").Transport} Transport */

/** The longest delay of browsers' timers: above it they fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

export class Driver {
  #machine;
  #address;
  #environment;
  #tell;

  /** @type {Transport | null} The connection, or the attempt at one; what comes over any other is dropped. */
  #transport = null;
  /** @type {any} */
  #timer;
  #timerAt = Infinity;
  #unwatch = () => {};

  /**
   * @param {ConnectionMachine} machine
   * @param {string} address
   * @param {Environment} environment
   * @param {(handler: HandlerName, event?: object) => void} tell
   */
  constructor(machine, address, environment, tell) {
    this.#machine = machine;
    this.#address = address;
    this.#environment = environment;
    this.#tell = tell;
  }

  open() {
    this.#unwatch = this.#environment.watch(
      () => this.#tick(),
      () => this.#run(() => this.#machine.leaving()),
    );
    this.#run((now) => this.#machine.open(now));
  }

  close() {
    this.#run(() => this.#machine.close());
  }

  #tick() {
    this.#run((now) => this.#machine.tick(now));
  }

  /**
   * One event, and all that follows from it. A handler of the page may call `close()`, and so get here again, while
   * effects are being carried out: the inner run takes the rest of them, in order.
   *
   * @param {(now: number) => void} event
   */
  #run(event) {
    event(this.#environment.now());
    for (let effect = this.#machine.next(); effect; effect = this.#machine.next()) this.#carryOut(effect);
    this.#setTimer();
  }

  /** @param {Effect} effect */
  #carryOut(effect) {
    switch (effect.type) {
      case "connect":
        return this.#connect(effect);
      case "send":
        return this.#transport?.send(effect.text);
      case "disconnect":
        this.#transport?.close(effect.code);
        this.#transport = null;
        return;
      case "tell":
        return this.#tell(effect.handler, effect.event);
      case "warn":
        return this.#environment.warn(advice(this.#address, effect.loss));
      case "end":
        this.#environment.clearTimeout(this.#timer);
        return this.#unwatch();
    }
  }

  /** @param {Extract<Effect, {type: "connect"}>} effect */
  #connect({ token, page, after }) {
    const transport = openWebSocket({ address: this.#address, token, page, after }, this.#environment);
    this.#transport = transport;
    transport.onmessage = ({ data }) => {
      if (transport === this.#transport) this.#run((now) => this.#machine.receive(data, now));
    };
    transport.onclose = ({ code, reason }) => {
      if (transport !== this.#transport) return;
      this.#transport = null;
      this.#run((now) => this.#machine.closed(code, reason, now));
    };
  }

  /** Deadlines mostly move away, with each frame that comes: then the timer may as well fire early and be set again. */
  #setTimer() {
    const { deadline } = this.#machine;
    if (deadline >= this.#timerAt) return;
    this.#environment.clearTimeout(this.#timer);
    this.#timerAt = deadline;
    const delay = Math.ceil(Math.min(Math.max(deadline - this.#environment.now(), 0), LONGEST_TIMER));
    this.#timer = this.#environment.setTimeout(() => {
      this.#timerAt = Infinity;
      this.#tick();
    }, delay);
  }
}
