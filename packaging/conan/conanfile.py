"""A recipe for Conan 2 that builds the tree it lies in. Not run by Conan yet, see packaging/README.md."""

import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load, rmdir
from conan.tools.gnu import PkgConfigDeps


class TidingsConan(ConanFile):
    name = "tidings"
    description = "Event-driven messaging for C++20"
    license = "MIT"
    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"tools": [True, False]}
    default_options = {"tools": False}

    @property
    def _tree(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        # Only the tree knows it; an exported recipe has it already.
        if not self.version:
            text = load(self, os.path.join(self._tree, "CMakeLists.txt"))
            self.version = re.search(r"project\(tidings VERSION ([0-9.]+)", text)[1]

    def export_sources(self):
        for pattern in ("CMakeLists.txt", "LICENSE", "cmake/*", "include/*", "src/*", "tools/*"):
            copy(self, pattern, src=self._tree, dst=self.export_sources_folder)

    def layout(self):
        cmake_layout(self)

    def requirements(self):
        self.requires("boost/[>=1.81 <2]", transitive_headers=True)
        self.requires("simdjson/[>=3.0 <4]")
        self.requires("sqlite3/[>=3.40 <4]")
        self.requires("openssl/[>=3 <4]")
        self.requires("libcurl/[>=7.85 <9]")
        self.requires("fmt/[>=9 <10]")
        # Later ones want a later fmt.
        self.requires("spdlog/[>=1.10 <1.12]")
        if self.options.tools:
            self.requires("cli11/[>=2.1 <3]")

    def build_requirements(self):
        if not self.conf.get("tools.gnu:pkg_config", check_type=str):
            self.tool_requires("pkgconf/[>=2 <3]")

    def validate(self):
        check_min_cppstd(self, 20)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["TIDINGS_DEVELOPER"] = False
        toolchain.cache_variables["TIDINGS_TOOLS"] = bool(self.options.tools)
        toolchain.generate()
        CMakeDeps(self).generate()
        PkgConfigDeps(self).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build(target="product")

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        # Conan writes its own.
        rmdir(self, os.path.join(self.package_folder, "lib", "cmake"))
        rmdir(self, os.path.join(self.package_folder, "lib", "pkgconfig"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "tidings")
        library = self.cpp_info.components["tidings"]
        library.set_property("cmake_target_name", "tidings::tidings")
        library.set_property("pkg_config_name", "tidings")
        library.libs = ["tidings"]
        library.system_libs = ["pthread"]
        library.requires = [
            "boost::headers",
            "simdjson::simdjson",
            "sqlite3::sqlite",
            "openssl::ssl",
            "openssl::crypto",
            "libcurl::libcurl",
            "fmt::fmt",
            "spdlog::spdlog",
        ]
        if self.options.tools:
            library.requires.append("cli11::cli11")
        testing = self.cpp_info.components["testing"]
        testing.set_property("cmake_target_name", "tidings::testing")
        testing.libs = ["tidings_testing"]
        testing.requires = ["tidings"]
