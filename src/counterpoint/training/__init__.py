"""The loop: draw, learn, embed, score, keep, save; and what it needs to go on after a kill."""
