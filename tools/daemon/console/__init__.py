"""The console: a web page that shows a running instance and its world, and lets people act on both."""
