"""The forms of the core-area map, known without torch; see `modules.core_area`."""

FORMS = ("linear", "sigmoid")
