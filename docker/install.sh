#!/bin/sh
# Installs a lock file into /opt/venv, without what no step needs.
set -eu

python3 -m pip --python /opt/venv install --disable-pip-version-check --no-compile --only-binary :all: \
    --require-hashes --requirement "$1"

packages=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo /opt/code > "$packages/mlops_assets.pth"

find "$packages" -type d -name tests -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.a' -o -name '*.h' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.pyx' \
    -o -name '*.c' -o -name '*.cpp' -o -name '*.tp' \) -delete
rm -rf "$packages"/numpy/distutils "$packages"/numpy/f2py/src
# Nothing links to Flight's 30 MB, and the copies of libarrow_python are for compilers.
(cd "$packages/pyarrow" && rm -rf include src ./*flight* ./*cpp_tests* libarrow_python*.so lib*.so.*.*.*)
/opt/venv/bin/python /strip.py "$packages"

# Containers are short, read-only and of any user: bytecode is made here, and trusted without a look at its source.
find "$packages" -name '*.py' -newer /opt/venv/pyvenv.cfg -print0 |
    xargs -0 -r -n 400 -P "$(nproc)" /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash
touch /opt/venv/pyvenv.cfg
