import { Socket } from "./socket.js";

/** @typedef {import("./socket.js").Handlers} Handlers */
/** @typedef {import("./socket.js").Options} Options */

/**
 * The class that programs make their channels of.
 *
 * @param {import("./environment.js").Environment} environment
 * @returns {new (token: string, options?: Options) => {open(handlers?: Handlers): Socket}}
 */
export const channelIn = (environment) =>
  /** The one-way path from an application to this page, as the token names it. */
  class Channel {
    #token;
    #options;

    /**
     * @param {string} token
     * @param {Options} [options]
     */
    constructor(token, options) {
      this.#token = token;
      this.#options = options;
    }

    /**
     * Opens a socket. No handler is called before the task that calls this has ended.
     *
     * @param {Handlers} [handlers] read here; may be set on the socket as well
     */
    open(handlers) {
      return new Socket(this.#token, handlers, this.#options ?? {}, environment);
    }
  };
