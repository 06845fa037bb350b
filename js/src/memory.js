/**
 * What a page has learnt about a server: shared by all its sockets, and kept over a reload where that is allowed.
 */

/**
 * @typedef {object} Memory
 * @property {string} [transport] the one that opened when better ones did not
 * @property {number} [trialAt] when a better one is to be tried again
 * @property {number} [trialPause] how long that was put off last
 * @property {number} [rivalUntil] until when the page stays away for another one
 * @property {number} [rivalPause] how long that was
 * @property {number} [savedAt]
 * @property {() => void} save
 */

/**
 * What was saved in the future is forgotten: the clock was set back, and every moment in there is wrong.
 *
 * @param {() => Pick<Storage, "getItem" | "setItem">} storage may throw: some pages have none
 * @param {string} address of the server
 * @param {() => number} now
 * @returns {Memory}
 */
export function recall(storage, address, now) {
  const key = `pushline ${address}`;
  /** @type {Partial<Memory>} */
  let kept = {};
  try {
    kept = JSON.parse(storage().getItem(key) ?? "{}");
  } catch {
    // Then it is forgotten with the page.
  }
  return {
    ...(Number(kept?.savedAt) <= now() && kept),
    save() {
      this.savedAt = now();
      try {
        storage().setItem(key, JSON.stringify(this));
      } catch {
        // As above.
      }
    },
  };
}
