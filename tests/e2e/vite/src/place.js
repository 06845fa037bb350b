/** What the test gives the program: a token, and the server's address. */
export const { token, url } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
export const app = document.getElementById("app");
