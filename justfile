# Thin names for `cargo xtask`; CI calls the same.

# run a real training job on a local cluster
demo:
    cargo xtask demo

# all tests
test:
    cargo xtask test

# the fast tests
unit:
    cargo test

# write the generated files
codegen:
    cargo xtask codegen

# house rules
tidy:
    cargo xtask tidy
