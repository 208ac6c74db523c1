"""What the commands under ``experiments/`` do, from settings to the last line on the console."""
