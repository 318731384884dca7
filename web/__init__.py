"""The page of `demo.py --web`: a server for this computer alone, and its files.

Starlette and uvicorn serve a few small files and one way to read: no build step, nothing fetched
from elsewhere, and every answer under a policy that forbids the rest. Gradio would bring dozens of
packages, and has no part that draws a map over the image for each character.
"""
