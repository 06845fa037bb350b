/** A smaller difference between the two clocks is their inexactness, not a sleep. */
const SHORTEST_SLEEP = 1000;

/**
 * A clock that neither stops while the computer sleeps, as `performance.now()` does on some systems, nor runs
 * backwards when somebody sets the time, as `Date.now()` does: the monotonic one, and what the other is ahead by all
 * at once. (Setting the time forwards looks like a sleep; that is harmless.)
 *
 * @param {() => number} wall
 * @param {() => number} monotonic
 * @returns {() => number} milliseconds
 */
export function steadyClock(wall, monotonic) {
  let slept = 0;
  let difference = wall() - monotonic();
  return () => {
    const before = difference;
    difference = wall() - monotonic();
    if (difference - before > SHORTEST_SLEEP) slept += difference - before;
    return monotonic() + slept;
  };
}
