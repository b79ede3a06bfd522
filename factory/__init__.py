"""The command line, recipes, teachers, sampling and the build. `factory.build.build` is the main path: start there."""
