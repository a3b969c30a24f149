"""The console: a page that shows a running bench and what happens in its world, and lets people act on both."""
