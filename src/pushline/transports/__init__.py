"""How a session's frames reach a page. One file per transport; the seam is ``base``."""
