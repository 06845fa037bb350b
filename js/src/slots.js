/**
 * Who may hold a request open (contract, J4). Browsers open six connections of HTTP/1.1 to a server, for all their
 * pages together: four held requests leave two for everything else.
 */

const SLOTS = 4;

/**
 * @typedef {object} Holders
 * @property {Pick<LockManager, "request">} locks shared by the pages of an origin; missing on http: pages
 * @property {() => boolean} visible
 * @property {(changed: () => void) => () => void} watchVisibility
 */

/**
 * @param {string} name of the server
 * @param {() => void} lost what to do when the slot is gone
 * @param {Holders} holders
 * @returns {Promise<(() => void) | null>} gives the slot back; null: there is none
 */
export async function takeSlot(name, lost, { locks, visible, watchVisibility }) {
  try {
    for (let slot = 1; slot <= SLOTS; slot++) {
      const release = await lock(locks, `pushline ${name} ${slot}`);
      if (release) return release;
    }
    return null;
  } catch {
    // There are no locks, or not for a page without an origin of its own, in a sandbox say.
  }
  // Without locks pages do not know of each other, but few are seen at a time.
  if (!visible()) return null;
  const unwatch = watchVisibility(() => {
    if (visible()) return;
    unwatch();
    lost();
  });
  return unwatch;
}

/**
 * @param {Pick<LockManager, "request">} locks
 * @param {string} name
 * @returns {Promise<(() => void) | null>}
 */
function lock(locks, name) {
  return new Promise((resolve, reject) => {
    // The lock is held until the promise is kept, which `resolve` is handed the means for.
    /** @param {unknown} taken */
    const hold = (taken) => (taken ? new Promise(/** @type {any} */ (resolve)) : resolve(null));
    locks.request(name, { ifAvailable: true }, hold).catch(reject);
  });
}
