"""For instructors and CI: run notebooks and store outputs, lint them, check the data, hand out a workshop.

python notebooks/course refresh [notebooks] [--stamp-only]
python notebooks/course lint [notebooks]
python notebooks/course data
python notebooks/course workshop FOLDER
"""
