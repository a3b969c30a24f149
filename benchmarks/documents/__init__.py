"""Documents signed by other programs, judged by other programs and by Kazashi.

`python -m benchmarks.documents FOLDER` writes them with a list of what each judge says.
"""
