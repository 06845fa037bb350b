/** What the page's program holds (contract, section 6, and the old API that it stands for). */

import { connectAddress } from "./address.js";
import { createMachine, ReadyState } from "./connection.js";
import { drive } from "./driver.js";
import { createLadder, TRANSPORTS } from "./ladder.js";
import { createManners } from "./manners.js";
import { recall } from "./memory.js";
import { createRefresh } from "./refresh.js";

/**
 * The functions that a socket calls, always as its own methods. Any of them may be missing.
 *
 * @typedef {object} Handlers
 * @property {((this: Socket) => void) | null} [onopen] the socket is ready; once, before any message
 * @property {((this: Socket, message: {data: string}) => void) | null} [onmessage] `data` is the text that was sent
 * @property {((this: Socket, error: {code: number, description: string}) => void) | null} [onerror]
 *   the socket is finished for this reason; `onclose` follows
 * @property {((this: Socket) => void) | null} [onclose] the socket is finished; once, and the last of all
 * @property {((this: Socket, event: {attempt: number, delay: number}) => void) | null} [onreconnecting]
 *   there is no connection; the next attempt to get one is made in `delay` milliseconds
 * @property {((this: Socket) => void) | null} [onreconnect] there is a connection again, and nothing was lost
 * @property {((this: Socket) => void) | null} [ongap] messages before the next one are lost: fetch the present state
 */

/**
 * @typedef {object} Options
 * @property {string} [url] the server: its origin, or the folder under which it answers
 * @property {number} [giveUpAfter] milliseconds without a connection after which the socket is finished with the error
 *   503 `No+connection.`; without it, when the token expires
 * @property {() => string | Promise<string>} [refreshToken] is called when the token is near its end, and gives a fresh
 *   one of the same client id
 * @property {import("./ladder.js").TransportName[]} [transports] the ways to connect that may be used, the best first
 */

/** The receiving end of a channel. It outlives its connections: it reconnects, and goes on where it was. */
export class Socket {
  static ReadyState = ReadyState;

  /** @type {Handlers["onopen"]} */
  onopen;
  /** @type {Handlers["onmessage"]} */
  onmessage;
  /** @type {Handlers["onerror"]} */
  onerror;
  /** @type {Handlers["onclose"]} */
  onclose;
  /** @type {Handlers["onreconnecting"]} */
  onreconnecting;
  /** @type {Handlers["onreconnect"]} */
  onreconnect;
  /** @type {Handlers["ongap"]} */
  ongap;

  #driver;

  /**
   * Made by `Channel.open()`.
   *
   * @param {string} token
   * @param {Handlers | null | undefined} handlers
   * @param {Options} options
   * @param {import("./environment.js").Environment} environment
   */
  constructor(token, handlers, options, environment) {
    // Copied, one by one: what becomes of the handler object later has no effect, what is set here later has.
    for (const name in this) /** @type {any} */ (this)[name] = /** @type {any} */ (handlers)?.[name];

    const address = connectAddress(options.url ?? environment.base(), environment.pageAddress());
    const manners = (environment.servers[address] ??= createManners(
      recall(environment.storage, address, environment.now),
    ));
    const machine = createMachine(
      {
        token,
        page: environment.pageId(),
        giveUpAfter: options.giveUpAfter,
        refresh: createRefresh(Boolean(options.refreshToken)),
        ladder: createLadder(rungs(options.transports), manners.memory),
        manners,
      },
      environment,
    );
    /** @type {Parameters<typeof drive>[3]} */
    const tell = (name, event) => {
      try {
        // The machine tells each handler what it expects; the compiler cannot see that through the name.
        /** @type {any} */ (this)[name]?.(event);
      } catch (error) {
        environment.report(error);
      }
    };
    this.#driver = drive(machine, address, environment, tell, () => options.refreshToken?.());
  }

  /** One of `Socket.ReadyState`. A socket that reconnects stays OPEN. */
  get readyState() {
    return this.#driver.readyState();
  }

  /** Ends the socket at once. `onclose` follows in a later task, and nothing after it. */
  close() {
    this.#driver.close();
  }

  /** A channel goes one way: the page talks to its application by requests of its own. */
  send() {
    return false;
  }
}

/** @param {import("./ladder.js").TransportName[]} [wanted] */
function rungs(wanted) {
  const known = wanted?.filter((transport) => TRANSPORTS.includes(transport));
  return known?.length ? known : TRANSPORTS;
}
