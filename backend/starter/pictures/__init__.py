"""The image starter: a small text-to-image pipeline, and the scripts that made it.

    python -m backend.starter.pictures FOLDER        fetch the pictures, train, save; goes on where it stopped

The pictures are Noto Emoji (Apache-2.0), as the npm package `emoji-datasource-google` carries them (data: MIT).
"""
