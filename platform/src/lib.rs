//! What a CNB platform gives a build: builder, sandbox, base image, source.
