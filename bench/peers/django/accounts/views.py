from django.contrib import auth
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods, require_POST


# The benchmark posts without having fetched the form, to this peer as to the others.
@csrf_exempt
@require_http_methods(["GET", "POST"])
def login(request):
    if request.method == "GET":
        return render(request, "login.html")
    user = auth.authenticate(
        request, email=request.POST.get("email"), password=request.POST.get("password")
    )
    if user is None:
        return HttpResponse("Unknown email or wrong password.", status=401)
    auth.login(request, user)
    return redirect("/account")


@csrf_exempt
@require_POST
def logout(request):
    auth.logout(request)
    return redirect("/login")


@require_GET
@login_required
def account(request):
    return render(request, "account.html")
