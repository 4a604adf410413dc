# Where the core can be built, said in a sentence before the compiler says it in a hundred lines.

# Before a compiler is looked for. `project(... LANGUAGES NONE)` sets CMAKE_SYSTEM_NAME.
function(ss_check_system)
  if(NOT CMAKE_SYSTEM_NAME MATCHES "^(Linux|Darwin)$")
    message(
      FATAL_ERROR
        "stable_structures runs on Linux and macOS; this is ${CMAKE_SYSTEM_NAME}. On Windows, use it in WSL: "
        "a stable memory is a reserved range of addresses that a file is mapped into, which only the POSIX calls do here.")
  endif()
endfunction()

# The formats are little-endian and read in place, and a memory of 500 GiB has an address of its own.
function(ss_check_processor)
  if(NOT CMAKE_SIZEOF_VOID_P EQUAL 8)
    math(EXPR bits "8 * ${CMAKE_SIZEOF_VOID_P}")
    message(FATAL_ERROR "stable_structures needs a 64-bit processor (x86-64, arm64); this compiler builds for ${bits} bits.")
  endif()
  if(NOT CMAKE_C_BYTE_ORDER STREQUAL "LITTLE_ENDIAN")
    message(FATAL_ERROR "stable_structures needs a little-endian processor (x86-64, arm64); this compiler builds for a big-endian one.")
  endif()
endfunction()

# cffi makes the extension: not on PyPy, and for free-threaded Python from 3.14.
function(ss_check_python)
  if(NOT Python_INTERPRETER_ID STREQUAL "Python")
    message(FATAL_ERROR "stable_structures needs CPython 3.11 or newer; this is ${Python_INTERPRETER_ID}.")
  endif()
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import sysconfig; print(sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
    OUTPUT_VARIABLE free_threaded
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(free_threaded AND Python_VERSION VERSION_LESS 3.14)
    message(FATAL_ERROR "stable_structures needs free-threaded Python 3.14 or newer, or a Python with the GIL from 3.11; "
                        "this is free-threaded ${Python_VERSION}, for which there is no cffi.")
  endif()
endfunction()
