import { createElement, StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { Board } from "./Board.jsx";
import { app, token, url } from "./place.js";

window.effects = 0;

function Program({ token }) {
  useEffect(() => {
    window.effects += 1;
  }, []);
  return token && createElement(Board, { token, url });
}

const root = createRoot(app);

/** The test calls it with another token, or with none to take the component away. */
window.show = (token) => root.render(createElement(StrictMode, null, createElement(Program, { token })));
show(token);
