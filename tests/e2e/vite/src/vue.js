import { createApp } from "vue";
import Board from "./Board.vue";
import { app, token, url } from "./place.js";

const program = createApp(Board, { token, url });
program.mount(app);
window.show = () => program.unmount();
