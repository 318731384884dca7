"""What the HTML report and the web page share: readings as plain values, looks, and scripts."""

from pathlib import Path

PARTS = Path(__file__).parent / "parts"
