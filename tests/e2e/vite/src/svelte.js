import { mount, unmount } from "svelte";
import Board from "./Board.svelte";
import { app, token, url } from "./place.js";

const board = mount(Board, { target: app, props: { token, url } });
window.show = () => unmount(board);
