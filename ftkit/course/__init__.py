"""For instructors and CI: run notebooks and store outputs, lint them, check the data, hand out a workshop.

python -m ftkit.course refresh [notebooks] [--stamp-only]
python -m ftkit.course lint [notebooks]
python -m ftkit.course data
python -m ftkit.course workshop FOLDER
"""
