# Our own builds treat warnings as errors; those of a project that uses Tidings must not.
function(tidings_warnings target)
  if(PROJECT_IS_TOP_LEVEL)
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Werror)
    # g++ 12 warns about std::string and std::vector internals under sanitizers and at -O3 where nothing is wrong.
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow
                                               -Wno-stringop-overread -Wno-array-bounds)
    endif()
  endif()
endfunction()
